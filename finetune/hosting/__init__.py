"""The parts of a fine-tuning at a provider: what is checked, what is asked of it, how it is followed.

    checking ▸ pricing ▸ eligibility    before anything is sent
      ▸ once (an upload, a job: each made exactly once) ▸ following ▸ finishing    with `state` written around each step

Only `provider` talks to anybody. `finetune/hosted.py` is the story.
"""
