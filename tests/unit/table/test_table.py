"""What docs/table.md says holds: of every cell, of what `auto` picks, and of the page itself."""

from __future__ import annotations

from table import page
from table.cells import CELLS, SERVERS, STRATEGIES, Cell, chosen
from table.results import Results


def test_auto_takes_no_race_where_a_strategy_that_carries_out_every_change_has_none() -> None:
    for cell in CELLS:
        others = [Cell(each, cell.server, cell.supervisor, cell.balancer) for each in STRATEGIES]
        whole = [each for each in others if not each.refusals and each.strategy != "reload"]
        picked = Cell(cell.auto, cell.server, cell.supervisor, cell.balancer)
        assert picked.race is None or all(each.race is not None for each in whole), picked.name


def test_a_result_that_no_race_explains_is_seen() -> None:
    none = {"failed": 0, "stale": 0, "causes": {}, "kinds": {}}
    reset = {"failed": 1, "stale": 0, "causes": {"reset": 1}, "kinds": {"get": {"requests": 9, "failed": 1}}}
    behind = Cell("restart", "uvicorn", "systemd", "haproxy")
    assert not behind.unforeseen(none)
    assert behind.unforeseen(reset) and behind.unforeseen({**none, "stale": 1})
    alone = Cell("socket", "uvicorn", "systemd", "none")
    assert not alone.unforeseen(reset)
    assert alone.unforeseen({**reset, "causes": {"refused": 1}}) and alone.unforeseen({**reset, "failed": 11})
    asgi = Cell("restart", "gunicorn-asgi", "systemd", "nginx")
    assert asgi.unforeseen(reset)
    assert not asgi.unforeseen({**reset, "kinds": {"websocket": {"requests": 9, "failed": 1}}})


def test_the_page_is_the_one_that_make_table_writes() -> None:
    assert page.PATH.read_text() == page.text(Results()), "type: make table"


def test_cells_are_chosen_by_name_and_by_seed() -> None:
    found = {cell.server for cell in chosen("reload/gunicorn*/systemd/none")}
    assert found == {each for each in SERVERS if each.startswith("gunicorn")}
    assert chosen(seed="7") == chosen(seed="7") != chosen(seed="8")
    assert len(chosen(seed="7")) == 6
