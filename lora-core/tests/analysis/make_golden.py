#!/usr/bin/env python3
"""Writes golden.json beside this file: phi, Table 7 and amplification factors of small random matrices, by numpy and by their
definitions (every update is formed and decomposed whole).

    python3 make_golden.py
"""

import json
import pathlib

import numpy as np

OUT, IN, ALPHA = 20, 24, 6.0
rng = np.random.default_rng(20210617)


def draw(*shape):
    # Rounded, so that the file holds the very numbers that are computed with.
    return np.round(rng.normal(size=shape), 4)


def directions(a):
    return np.linalg.svd(a, full_matrices=False)[2].T


def phi(u, v):
    def one(i, j):
        return np.linalg.norm(u[:, :i].T @ v[:, :j]) ** 2 / min(i, j)

    return [[one(i, j) for j in range(1, v.shape[1] + 1)] for i in range(1, u.shape[1] + 1)]


def cell(w, a, b):
    r = a.shape[0]
    delta = b @ a
    u, s, vt = np.linalg.svd(delta)
    uw, _, vwt = np.linalg.svd(w)
    norm = np.linalg.norm
    onto_delta = norm(u[:, :r].T @ w @ vt[:r].T)
    return {
        "weight": norm(w),
        "ba": norm(delta),
        "delta": norm(ALPHA / r * delta),
        "onto_delta": onto_delta,
        "onto_weight": norm(uw[:, :r].T @ w @ vwt[:r].T),
        "amplification": norm(ALPHA / r * delta) / onto_delta,
        "amplification_unscaled": norm(delta) / onto_delta,
        "spectrum": s[:r].tolist(),
    }


a4, b4, a8, b8, w = draw(4, IN), draw(OUT, 4), draw(8, IN), draw(OUT, 8), draw(OUT, IN)
golden = {
    "alpha": ALPHA,
    "inputs": {name: m.tolist() for name, m in {"a4": a4, "b4": b4, "a8": a8, "b8": b8, "w": w}.items()},
    "phi_a4_a8": phi(directions(a4), directions(a8)),
    "phi_w_a4": phi(directions(w), directions(a4)),
    "r4": cell(w, a4, b4),
    "r8": cell(w, a8, b8),
}
path = pathlib.Path(__file__).with_name("golden.json")
path.write_text(json.dumps(golden) + "\n")
print(path, path.stat().st_size, "bytes")
