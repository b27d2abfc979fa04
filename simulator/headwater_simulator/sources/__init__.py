"""Where the data of a simulated device come from: generators, replayed files, tables dealt out."""
