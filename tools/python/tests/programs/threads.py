"""Threads."""

import concurrent.futures
import threading


def work(n):
    for _ in range(n):
        n += 0
    return n


def case_threading():
    threads = [
        threading.Thread(target=work, args=(3,)),
        threading.Thread(target=lambda: work(
            1
        )),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def case_pool():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, range(4)))


class Worker(threading.Thread):
    def run(self):
        work(2)


def case_class():
    worker = Worker(daemon=True)
    worker.start()
    worker.join()


def case_timer():
    done = threading.Event()
    timer = threading.Timer(0.001, lambda: done.set())
    timer.start()
    timer.join()
