"""Variables that a program reads with their axes in another order: they are turned once instead of for each image."""

import math
from collections import defaultdict
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Var, jaxpr_as_fun

from gnl_jax.detection.bound_program import Orders

LEAST = 4096  # values of an array below which turning it costs nothing


def orders_of(traced: ClosedJaxpr, count: int) -> Orders:
    """Of the first `count` arguments of a function those that it only ever transposes, and always alike."""
    jaxpr, uses = traced.jaxpr, defaultdict[Any, list[Any]](list)
    for equation in jaxpr.eqns:
        order = equation.params["permutation"] if equation.primitive.name == "transpose" else None
        for x in equation.invars:
            if isinstance(x, Var):
                uses[x].append(order)
    for x in jaxpr.outvars:
        if isinstance(x, Var):
            uses[x].append(None)
    found = {}
    for i, x in enumerate(jaxpr.invars[:count]):
        orders = set(uses[x])
        if len(orders) == 1 and None not in orders and math.prod(x.aval.shape) >= LEAST:
            found[i] = tuple(int(axis) for axis in orders.pop())
    return found


def with_orders(traced: ClosedJaxpr, orders: Orders) -> tuple[Any, list[jax.ShapeDtypeStruct]]:
    """(the function of a list of arguments in these orders, what it takes)."""

    def function(*arguments: jax.Array) -> list[jax.Array]:
        back = {i: np.argsort(order) for i, order in orders.items()}
        return jaxpr_as_fun(traced)(*(x.transpose(back[i]) if i in back else x for i, x in enumerate(arguments)))

    taken = [
        jax.ShapeDtypeStruct([x.shape[axis] for axis in orders[i]] if i in orders else x.shape, x.dtype)
        for i, x in enumerate(traced.in_avals)
    ]
    return function, taken
