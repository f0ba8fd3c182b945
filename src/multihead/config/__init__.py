"""What the model is and how a run goes: tasks, settings, names. Needs no array and no network."""
