/* multiply N: multiplies two matrices of N by N doubles, block by block, and looks whether the product is
 * right; prints a sum of it. The three matrices are 24 N N bytes. */
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = 64 };

static double *matrix(size_t n)
{
    double *m = calloc(n * n, sizeof *m);
    if (!m) {
        perror("calloc");
        exit(1);
    }
    return m;
}

static size_t end(size_t at, size_t n)
{
    return at + BLOCK < n ? at + BLOCK : n;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: multiply N\n");
        return 2;
    }
    size_t n = strtoul(argv[1], NULL, 10);
    double *a = matrix(n), *b = matrix(n), *c = matrix(n);
    /* Small whole numbers: all sums are exact. */
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            a[i * n + j] = (double)((i * 31 + j * 17) % 101);
            b[i * n + j] = (double)((i * 13 + j * 7) % 97);
        }
    for (size_t ii = 0; ii < n; ii += BLOCK)
        for (size_t kk = 0; kk < n; kk += BLOCK)
            for (size_t jj = 0; jj < n; jj += BLOCK)
                for (size_t i = ii; i < end(ii, n); i++)
                    for (size_t k = kk; k < end(kk, n); k++) {
                        double x = a[i * n + k];
                        const double *from = b + k * n;
                        double *to = c + i * n;
                        for (size_t j = jj; j < end(jj, n); j++)
                            to[j] += x * from[j];
                    }
    /* The sums of the product's rows are the first matrix times those of the second's. */
    double *sums = calloc(n, sizeof *sums), sum = 0;
    if (!sums)
        return 1;
    for (size_t k = 0; k < n; k++)
        for (size_t j = 0; j < n; j++)
            sums[k] += b[k * n + j];
    for (size_t i = 0; i < n; i++) {
        double row = 0, right = 0;
        for (size_t j = 0; j < n; j++) {
            row += c[i * n + j];
            right += a[i * n + j] * sums[j];
        }
        if (row != right) {
            fprintf(stderr, "row %zu is %.0f and not %.0f\n", i, row, right);
            return 1;
        }
        sum += row;
    }
    printf("%.0f\n", sum);
    return 0;
}
