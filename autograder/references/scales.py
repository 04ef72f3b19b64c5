"""What attention scores are multiplied by, rightly and wrongly: functions of q, k and v, for NumPy and torch alike."""

import math


def no_scale(q, k, v):
    return 1.0


def by_sqrt_d(q, k, v):
    return 1 / math.sqrt(q.shape[-1])


def by_d(q, k, v):
    return 1 / q.shape[-1]


def times_sqrt_d(q, k, v):
    return math.sqrt(q.shape[-1])


def by_sqrt_dv(q, k, v):
    return 1 / math.sqrt(v.shape[-1])


def by_sqrt_tk(q, k, v):
    return 1 / math.sqrt(k.shape[-2])


def by_sqrt_tq(q, k, v):
    return 1 / math.sqrt(q.shape[-2])


def by_width_of_model(q, k, v):
    return 1 / math.sqrt(q.shape[-1] * (q.shape[-3] if q.ndim > 3 else 1))


def by_axis_1(q, k, v):
    return 1 / math.sqrt(q.shape[1])
