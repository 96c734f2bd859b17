"""Running a plan: a batch goes through the model, and what passes its sites is kept.

`recorder` computes the shards of a plan, batch by batch (`batches`). An `engine` runs a batch and
shows each site (`plain_engine` is the fast one), `pooling` keeps what the position rules want of
it, and `gathering` joins what the batches gave to a shard. `parts` reads what an interrupted run
left.
"""
