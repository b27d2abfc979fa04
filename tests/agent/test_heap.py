from __future__ import annotations

from headwater_agent.heap import trimmer


class _Glibc:
    def __init__(self) -> None:
        self.trimmed: list[int] = []

    def malloc_trim(self, pad: int) -> int:
        self.trimmed.append(pad)
        return 1


def test_all_that_is_free_is_given_back_each_time() -> None:
    library = _Glibc()
    give_back = trimmer(library)
    give_back()
    give_back()
    assert library.trimmed == [0, 0]


def test_a_c_library_that_knows_nothing_of_it_is_left_alone() -> None:
    trimmer(object())()


def test_the_library_of_this_process_can_be_asked() -> None:
    trimmer()()
