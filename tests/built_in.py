"""The tasks that are built in, by names for the tests."""

from multihead.config.known_tasks import TASKS

BENGALI, DIGITS, FASHION, SIGNS, ANIMALS = (
    TASKS[name] for name in ("bengali", "digit-recognizer", "fashion-mnist", "sign-mnist", "animals10")
)
