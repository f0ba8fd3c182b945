"""Train and predict image classifiers with one or more heads, shard by shard, offline.

A module imports only modules that stand above it in this list:

    errors progress text_files background whole_files pictures file_names archives decoding architectures tasks
    settings kaggle_paths identity pixel_columns tables labels answers shards wide_parquet pixel_csv image_files
    datasets submission crop_resize inspection crop_store augmentation generator metrics logit_adjustment validation
    schedule record moving_average devices backbones model weights checkpoint resume inference training report
    evaluation app
"""
