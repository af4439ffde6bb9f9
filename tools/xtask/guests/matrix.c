/* matrix COUNT DIRECTORY: multiplies a matrix of 200 by 400 by one of 400 by 200, so often, and writes
 * each product to one of ten files of the directory; prints a sum of all. */
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 200, INNER = 400, COLUMNS = 200 };

static double a[ROWS][INNER], b[INNER][COLUMNS], c[ROWS][COLUMNS];

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: matrix COUNT DIRECTORY\n");
        return 2;
    }
    double sum = 0;
    for (long n = 0; n < atol(argv[1]); n++) {
        for (int i = 0; i < ROWS; i++)
            for (int k = 0; k < INNER; k++)
                a[i][k] = (double)((i * 31 + k * 17 + n) % 101);
        for (int k = 0; k < INNER; k++)
            for (int j = 0; j < COLUMNS; j++)
                b[k][j] = (double)((k * 13 + j * 7 + n) % 97);
        for (int i = 0; i < ROWS; i++)
            for (int j = 0; j < COLUMNS; j++) {
                double x = 0;
                for (int k = 0; k < INNER; k++)
                    x += a[i][k] * b[k][j];
                c[i][j] = x;
                sum += x;
            }
        char name[4096];
        snprintf(name, sizeof name, "%s/product-%ld", argv[2], n % 10);
        FILE *file = fopen(name, "w");
        if (!file || fwrite(c, sizeof c, 1, file) != 1 || fclose(file) != 0) {
            perror(name);
            return 1;
        }
    }
    printf("%.0f\n", sum);
    return 0;
}
