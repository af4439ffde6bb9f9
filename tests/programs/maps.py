# Memory that is shared: mapped files, children, a lock and arrays of multiprocessing.
import mmap
import multiprocessing
import os
from multiprocessing import shared_memory


def add(number, lock, total, each):
    for turn in range(10):
        with lock:
            total.value += number
            each[number] += turn


def main():
    with open("data", "w+b") as file:
        file.write(b"x" * 10000)
        file.flush()
        shared = mmap.mmap(file.fileno(), 0)
        shared[0:5] = b"hello"
        shared.flush()
        file.seek(0)
        print(file.read(8))
        shared.resize(20000)
        shared[15000:15003] = b"end"
        print(shared.find(b"end"), shared.size(), os.fstat(file.fileno()).st_size)
        anonymous = mmap.mmap(-1, 8192)
        child = os.fork()
        if child == 0:
            anonymous[0:3] = b"abc"
            shared[100:104] = b"kid!"
            os._exit(0)
        os.waitpid(child, 0)
        print(anonymous[0:3], shared[100:104])
        shared.move(200, 100, 4)
        shared.close()
    with open("data", "r+b") as file:
        print(len(file.read()))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as look:
            print(look[0:5], look[200:204])
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as own:
            own[0:5] = b"XXXXX"
            print(own[0:5])

    lock = multiprocessing.Lock()
    total = multiprocessing.Value("i", 0, lock=False)
    each = multiprocessing.Array("i", 4, lock=False)
    for number in range(4):
        process = multiprocessing.Process(target=add, args=(number, lock, total, each))
        process.start()
        process.join()
    print(total.value, each[:])
    one = shared_memory.SharedMemory(create=True, size=100000)
    one.buf[0] = 7
    two = shared_memory.SharedMemory(name=one.name)
    two.buf[99999] = two.buf[0] + 1
    print(one.buf[99999])
    two.close()
    one.close()
    one.unlink()


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main()
