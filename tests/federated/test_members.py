"""Whom a round asks when sites come and go."""

import pytest
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
)

from kbp.errors import UserError
from kbp.federated.replies import said
from kbp.federated.sites import members


class Nodes:
    """A grid of which others come with each look."""

    def __init__(self, *seen):
        self.seen = [*seen]

    def get_node_ids(self):
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]


@pytest.fixture
def waited(monkeypatch):
    """Pass time without any; return what was said of waiting."""
    now = [0.0]
    monkeypatch.setattr(members.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        members.time, "sleep", lambda s: now.__setitem__(0, now[0] + s)
    )
    return []


def made(waited, timeout=5.0, **options):
    strategy = FedAvg(
        **{"min_available_nodes": 3, "min_train_nodes": 1} | options
    )
    needed = members.nodes_needed(strategy)
    return members.Members({}, needed, timeout, lambda *x: waited.append(x))


def test_clients_are_waited_for_and_it_is_said_once(waited):
    found = made(waited).of(Nodes([7], [7, 4], [7, 4, 9]))
    assert found.get_node_ids() == [4, 7, 9]
    assert waited == [(1, 3)]


def test_who_has_left_is_asked_on_and_nobody_waits(waited):
    member = made(waited)
    member.of(Nodes([1, 2, 3]))
    assert member.of(Nodes([1, 3])).get_node_ids() == [1, 3, 2]
    assert member.of(Nodes([1, 2, 3])).get_node_ids() == [1, 2, 3]
    assert not waited


def test_who_comes_instead_takes_the_place(waited):
    member = made(waited)
    member.of(Nodes([1, 2, 3]))
    assert member.of(Nodes([1, 3, 8])).get_node_ids() == [1, 3, 8]
    assert member.of(Nodes([1, 3, 8, 9])).get_node_ids() == [1, 3, 8, 9]


def test_too_few_clients_end_the_run_in_a_line(waited):
    with pytest.raises(
        UserError, match=r"1 of 3 clients have connected in 5 s"
    ):
        made(waited).of(Nodes([1]))


def test_the_need_is_that_of_the_strategy_inside():
    inner = FedAvg(min_available_nodes=4, min_train_nodes=6)
    outer = DifferentialPrivacyServerSideFixedClipping(inner, 1.0, 1.0, 4)
    assert members.nodes_needed(outer) == 6
    assert members.nodes_needed(object()) == 1


def test_an_error_of_a_client_is_one_line():
    raised = "<class 'kbp.errors.UserError'>:<'no file\n  there'>"
    assert said(raised) == "UserError: no file there"
    assert said("<class 'KeyError'>:<''a''>") == "KeyError: 'a'"
    assert said("Node Unavailable") == "Node Unavailable"
