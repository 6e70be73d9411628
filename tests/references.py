"""The definitions in NumPy at float64, written from the formulas."""

import numpy as np


def sigmoid(x):
    return np.where(
        x >= 0,
        1 / (1 + np.exp(-np.abs(x))),
        np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))),
    )


def relu(x):
    return np.maximum(x, 0.0)


def dtm_mask(kernel, temperature, threshold, score, granularity, hard):
    scores = np.abs(kernel) if score == "magnitude" else kernel
    if granularity == "channel":
        columns = scores.reshape(-1, scores.shape[-1])
        scores = columns.mean(axis=0)  # broadcasts along the last axis
    if hard:
        mask = (scores > threshold).astype(np.float64)
    else:
        mask = sigmoid(temperature * (scores - threshold))
    return np.broadcast_to(mask, kernel.shape)


def residual_dense(inputs, skip, kernel, bias, projection=None):
    if projection is not None:
        skip = skip @ projection
    return relu(inputs @ kernel + bias) + skip


def conv2d_same(inputs, kernel, stride=1):
    """Correlate with TensorFlow's padding "same"."""
    height, width = kernel.shape[:2]
    out = [-(-size // stride) for size in inputs.shape[1:3]]
    pads = [
        max((o - 1) * stride + k - size, 0)
        for o, k, size in zip(
            out, (height, width), inputs.shape[1:3], strict=True
        )
    ]
    padded = np.pad(
        inputs,
        [(0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)],
    )
    result = np.zeros((len(inputs), *out, kernel.shape[-1]))
    for i in range(out[0]):
        for j in range(out[1]):
            top, left = i * stride, j * stride
            patch = padded[:, top : top + height, left : left + width]
            result[:, i, j] = np.tensordot(patch, kernel, 3)
    return result


def softmax(x):
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def self_attention(a, num_heads, query, key, value, output):
    """`MultiHead(W_Q a, W_K a, W_V a) + a`; each argument is (kernel, bias)."""
    q, k, v = (a @ kernel + bias for kernel, bias in (query, key, value))
    heads = []
    for q_h, k_h, v_h in zip(
        *(np.split(x, num_heads, axis=-1) for x in (q, k, v)), strict=True
    ):
        heads.append(softmax(q_h @ k_h.transpose(0, 2, 1)) @ v_h)
    return np.concatenate(heads, axis=-1) @ output[0] + output[1] + a


def feature_fusion(maps, kernels, biases):
    """`relu(P_1 x_1 + up(P_2 x_2 + ...))`, the finest map first."""
    joined = None
    for x, kernel, bias in reversed(
        list(zip(maps, kernels, biases, strict=True))
    ):
        projected = x @ kernel + bias
        if joined is not None:
            times = x.shape[1] // joined.shape[1]
            joined = joined.repeat(times, axis=1).repeat(times, axis=2)
            projected = projected + joined
        joined = projected
    return relu(joined)


class Hybrid:
    """HybridOptimizer's rule on one tensor, with all of its options."""

    def __init__(
        self,
        w,
        lr,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        weight_decay=0.0,
        rho=1.0,
        p=1.0,
        matrix=False,
    ):
        self.w = np.array(w, np.float64)
        self.m = np.zeros_like(self.w)
        self.v = np.zeros_like(self.w)
        self.v_max = np.zeros_like(self.w)
        self.lr, self.b1, self.b2 = lr, beta_1, beta_2
        self.epsilon, self.decay, self.t = epsilon, weight_decay, 0
        self.rho, self.p, self.matrix = rho, p, matrix

    def step(self, g):
        g = np.asarray(g, np.float64)
        self.t += 1
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g**2
        self.v_max = np.maximum(self.rho * self.v_max, self.v)
        n = self.b1 * self.m / (1 - self.b1 ** (self.t + 1)) ** self.p
        n = n + (1 - self.b1) * g / (1 - self.b1**self.t) ** self.p
        if self.matrix:
            rows, columns = n.size // n.shape[-1], n.shape[-1]
            u = quintic_factor(n.reshape(rows, columns)).reshape(n.shape)
            u = 0.2 * np.sqrt(max(rows, columns)) * u
        else:
            scale = np.sqrt(self.v_max / (1 - self.b2**self.t)) + self.epsilon
            u = n / scale**self.p
        self.w = self.w - self.lr * (u + self.decay * self.w)
        return self.w


def quintic_factor(x):
    """Singular values through four quintics, from 0.005 on near 1."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    s = s / np.sum(s**8) ** (1 / 8)
    for a, b, c in (
        (8.298703491437525, -24.43049814821767, 18.090304193078694),
        (3.9152209604606227, -2.9211302321835273, 0.5592232598130895),
        (3.1746036570557674, -2.3804328338954397, 0.4978263935199092),
        (2.1894628397935536, -1.567220683455829, 0.4078871579955795),
    ):
        s = a * s + b * s**3 + c * s**5
    return u * s @ vt
