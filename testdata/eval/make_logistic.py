"""Writes logistic.safetensors: a small problem and scikit-learn's solutions of it.

    python make_logistic.py

Needs numpy, scikit-learn, safetensors. Features have a mean, correlations and scales that differ by a
factor of a thousand, as those of a transformer's last norm do. scikit-learn minimises
C * sum CE + |W|^2 / 2: the same minimiser as (1/n) sum CE + |W|^2 / (2 C n).
"""
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

rng = np.random.default_rng(5)
classes, width = 4, 12
mixing = rng.normal(size=(width, width)) * np.logspace(-2, 1, width)[:, None]


def draw(count):
    labels = rng.integers(0, classes, count)
    centres = np.eye(classes, width) * 1.5
    latent = centres[labels] + rng.normal(size=(count, width))
    return (latent @ mixing + 3).astype(np.float32), labels.astype(np.int64)


train, train_labels = draw(120)
test, test_labels = draw(60)
tensors = {"train": train, "train_labels": train_labels, "test": test, "test_labels": test_labels}
for c in (1e-3, 1.0, 100.0):
    model = LogisticRegression(C=c, tol=1e-12, max_iter=200000, solver="newton-cholesky")
    model.fit(train.astype(np.float64), train_labels)
    probabilities = model.predict_proba(train.astype(np.float64))
    value = log_loss(train_labels, probabilities) + (model.coef_**2).sum() / (2 * c * len(train))
    name = f"c_{c:g}"
    # The classes' weights are unique up to what the solver adds to all: W sums to 0 over classes at
    # the regularised optimum, b is centred here.
    tensors[f"{name}/weight"] = model.coef_
    tensors[f"{name}/bias"] = model.intercept_ - model.intercept_.mean()
    tensors[f"{name}/loss"] = np.array(value)
    tensors[f"{name}/probabilities"] = model.predict_proba(test.astype(np.float64))
    print(name, value, model.n_iter_)
save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()},
          Path(__file__).with_name("logistic.safetensors"))
