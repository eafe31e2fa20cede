"""Figures say where they come from."""

from longlive_env.provenance import commit, provenance


def test_provenance_names_what_is_needed_to_repeat() -> None:
    found = provenance()
    assert found["device"] == "cpu" and found["machine"]["cores"] >= 1 and found["command"]
    head = commit()
    assert head is None or len(head.removesuffix("-dirty")) == 40
