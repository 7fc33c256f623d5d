"""What a supervisor hands on."""

from r3mes.replica.supervisor import spell_out
from r3mes.settings import Settings


def test_a_child_gets_the_settings_whole_with_the_keys_that_a_dump_masks() -> None:
    settings = Settings(api_keys="one,two", server={"workers": 3}, drain={"linger_s": 0})

    assert settings == Settings(**spell_out(settings))
