"""Coroutines, asynchronous generators and context managers."""

import asyncio


class Resource:
    def __init__(self): self.left = 2
    async def __aenter__(self): return self
    async def __aexit__(self, *details): return None
    def __aiter__(self): return self
    async def __anext__(self):
        self.left -= 1
        if self.left < 0: raise StopAsyncIteration
        return self.left


async def nothing(): pass


async def sleeper():
    await asyncio.sleep(0)
    return 1


async def numbers():
    for n in range(3):
        yield n
        await asyncio.sleep(0)


async def all_of_it():
    await nothing()
    async with Resource() as resource: pass
    async with Resource() as first, Resource(
    ) as second:
        assert first is not second
    async for left in resource: assert left >= 0
    async for number in numbers():
        if number == 1:
            break
    else:
        assert False
    found = [
        n
        async for n in numbers()
        if n
    ]
    return found, await asyncio.gather(sleeper(), sleeper())


async def failing():
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.001)
    except asyncio.TimeoutError:
        return 1


def case_all():
    asyncio.run(all_of_it())


def case_failing():
    asyncio.run(failing())


def case_never_awaited():
    coroutine = nothing()
    coroutine.close()
