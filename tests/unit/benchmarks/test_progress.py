from io import StringIO

from rich.console import Console

from benchmarks.progress import Bar, left_s


def plain() -> Console:
    return Console(file=StringIO(), width=40)


def printed(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_without_a_terminal_each_part_is_a_line_with_share_and_time() -> None:
    console = plain()
    with Bar(1200, console=console) as bar:
        with bar.part("the first part, whose name is longer than a line of forty", 300):
            pass
        with bar.part("[second]", 900):
            pass

    assert [
        "0%, about 20 min left: the first part, whose name is longer than a line of forty",
        "25%, about 0 min left: [second]",  # the first took no time, so will the rest
    ] == printed(console)


def test_a_part_that_was_cut_short_counts_as_planned() -> None:
    console = plain()
    with Bar(100, console=console) as bar:
        with bar.part("whole", 50), bar.part("inner", 10):
            pass
        with bar.part("last", 50):
            pass

    assert "50%, about 1 min left: last" == printed(console)[-1]


def test_on_a_terminal_nothing_of_the_bar_stays() -> None:
    console = Console(file=StringIO(), width=100, force_terminal=True)
    with Bar(100, console=console) as bar, bar.part("a part", 50):
        bar.say("a result")

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0%, about 2 min left: a part" in text
    assert "a result\n" in text


def test_the_time_left_follows_the_pace_once_it_is_known() -> None:
    assert 990 == left_s(1000, 10, 50)
    assert 1800 == left_s(1000, 100, 200)
