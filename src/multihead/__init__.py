"""Train and predict image classifiers with one or more heads, shard by shard, offline.

A module imports only modules that stand above it in this list:

    errors progress background whole_files tasks architectures settings kaggle_paths labels wide_parquet pixel_csv
    image_files shards crop_resize crop_store augmentation generator metrics logit_adjustment validation schedule
    moving_average devices backbones model weights checkpoint inference training submission evaluation app
"""
