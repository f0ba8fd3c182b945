"""Train and predict image classifiers with one or more heads, shard by shard, offline.

A package imports only from those below it:

    cli                 the command line
    commands            what each command does
    report              what a person looks at
    training            shard by shard: fit, validate, save, go on
    prediction          from test files to answers
    scoring             what answers are worth
    data, model         the way of an image; the network
    config              tasks, settings, names
    runtime             errors, the log, files, threads, processes
"""

__version__ = "0.1.0"
