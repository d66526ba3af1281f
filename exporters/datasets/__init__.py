"""Datasets for training, made of recorded traffic: `penstock dataset build`.

    select ▸ assemble ▸ clean ▸ scrub    one row after the other, in several processes (`building.scanning`)
      ▸ prefix chains ▸ duplicates ▸ benchmarks ▸ caps ▸ splits    over numbers of all rows (`building.choosing`)
      ▸ write ▸ manifest ▸ card    what was chosen, in order (`building.writing`)

Rows are read once. What is left of them after scrubbing waits in a spill beside the dataset, compressed; of each, a few
numbers are held in memory (`index`). The dataset is made in a hidden folder and renamed when it is whole.
"""
