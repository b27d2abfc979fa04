"""An order behaves as a dictionary that is sorted whenever it is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater_coordinator.federation.order import Order

NAMES = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), NAMES, st.integers(0, 9)),
        st.tuples(st.just("discard"), NAMES, st.just(0)),
        st.tuples(st.just("take"), st.just([]), st.integers(0, 9)),
    ),
    max_size=300,
)


@given(STEPS, st.integers(0, 8))
def test_it_agrees_with_a_dictionary_sorted_anew(
    steps: list[tuple[str, list[str], int]], count: int
) -> None:
    order: Order[int] = Order()
    model: dict[str, int] = {}
    for what, names, key in steps:
        for name in names:
            model.pop(name, None)
        if what == "set":
            order.set_all(names, key)
            model |= dict.fromkeys(names, key)
        elif what == "discard":
            order.discard_all(names)
        else:
            due = sorted((n for n in model if model[n] <= key), key=model.__getitem__)
            assert order.take(key) == due
            for taken in due:
                del model[taken]
        ranked = sorted(model, key=model.__getitem__)
        assert order.first(count) == ranked[:count]
        assert order.least == (model[ranked[0]] if ranked else None)
        assert (len(order), {n for n in "abcdef" if n in order}) == (len(model), set(model))


def test_names_set_again_and_again_do_not_pile_up() -> None:
    order: Order[int] = Order()
    for key in range(10_000):
        order.set("a", key)
    assert len(order._heap) < 200
