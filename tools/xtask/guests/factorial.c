/* factorial: computes factorials without end, as a load beside what is measured. */
#include <stdint.h>

int main(void)
{
    volatile uint64_t last = 0;
    for (uint64_t n = 1;; n++) {
        uint64_t product = 1;
        for (uint64_t i = 1; i <= n % 1000; i++)
            product = product * i % 1000000007;
        last = product;
    }
    (void)last;
}
