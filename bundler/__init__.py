"""From the package to what is pushed to Kaggle.

A room imports only from those below it, and of the package multihead.config alone:

    cli                 the command line
    commands            what each command does
    check, study        what Kaggle would refuse; a recipe on folds
    kaggle, rehearse    the client, staging, published weights; a stand-in of Kaggle's machine
    build               the script or notebook
    kernel_task         which task a kernel works on
    repository          where things lie
    metadata            what the kaggle client reads
    text_files, errors

Beside these it needs the standard library, pydantic (build/image.py), pooch (kaggle/pretrained.py), the kaggle client
(kaggle/request.py, a program of its own), and packaging (build/constraints.py, which no other module imports).
"""
