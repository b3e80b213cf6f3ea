"""Seconds of the processor that faiss takes for a query, asked one at a time by one thread.

faiss_flat.py BASE.npy QUERIES.npy l2|ip Flat|SQ8 COUNT
"""

import sys
import time

import faiss
import numpy

base, queries, metric, kind, count = sys.argv[1:]
faiss.omp_set_num_threads(1)
base = numpy.ascontiguousarray(numpy.load(base), dtype="float32")
queries = numpy.ascontiguousarray(numpy.load(queries)[: int(count)], dtype="float32")
metric = {"l2": faiss.METRIC_L2, "ip": faiss.METRIC_INNER_PRODUCT}[metric]
index = faiss.index_factory(base.shape[1], kind, metric)
index.train(base)
index.add(base)
ask = [queries[i : i + 1] for i in range(len(queries))]
for query in ask:
    index.search(query, 10)
start, asked = time.thread_time(), 0
while time.thread_time() - start < 0.4:
    for query in ask:
        index.search(query, 10)
        asked += 1
print((time.thread_time() - start) / asked)
