"""What the viewer's tests share: prompts, a scenario, and the header of recordings."""

from longlive_env.recording import LogHeader
from longlive_env.viewer.session import Session

CAT = "a red cat jumps in the city on a sunny day"
DOG = "a blue car moves left on the beach at night"
OWL = "a white ghost dances on the moon at night"

SCENARIO = f"""
name: two
seed: 5
duration: 6 blocks
prompt: {CAT}
timeline:
  - {{at: block 2, prompt: {DOG}}}
keys:
  left: {{action: moves left}}
  up: {OWL}
quick:
  - {{weather: in the rain}}
  - {OWL}
"""


def header(session: Session) -> LogHeader:
    """What a recording of the small world begins with."""
    config = session.world.config
    return LogHeader(
        name="test",
        world="small",
        seed=0,
        recache="full",
        height=config.height,
        width=config.width,
        fps=config.fps,
        device="cpu",
        threads=1,
        versions={},
    )
