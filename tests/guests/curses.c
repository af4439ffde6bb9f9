/* A full-screen program: draws, reads keys, reports the window, restores the terminal. */
#include <curses.h>
#include <string.h>
int main(void)
{
	initscr();
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	box(stdscr, 0, 0);
	mvprintw(2, 4, "window %d x %d", COLS, LINES);
	mvprintw(3, 4, "press q");
	refresh();
	int key, row = 5;
	while ((key = getch()) != 'q') {
		mvprintw(row++, 4, "key %d", key);
		refresh();
	}
	endwin();
	printf("left with %d keys\n", row - 5);
	return 0;
}
