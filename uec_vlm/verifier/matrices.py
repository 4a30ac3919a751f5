"""Matrices out of sums, products and multiples of matrices."""

from __future__ import annotations

from uec_vlm.verifier.limits import MAX_ITEMS, Work
from uec_vlm.verifier.nodes import Add, Matrix, Mul, Node


def matrix_value(node: Node, work: Work) -> Matrix | None:
    """The matrix that an expression makes, its entries not yet added up; None where it makes none."""
    if isinstance(node, Matrix):
        return node
    if isinstance(node, Mul):
        return _product(node, work)
    if isinstance(node, Add):
        return _sum(node, work)
    return None


def _product(node: Mul, work: Work) -> Matrix | None:
    values = [(factor, matrix_value(factor, work)) for factor in node.factors]
    matrices = [matrix for _, matrix in values if matrix is not None]
    if not matrices:
        return None
    scalars = tuple(factor for factor, matrix in values if matrix is None)
    product: Matrix | None = matrices[0]
    for matrix in matrices[1:]:
        product = _times(product, matrix, work) if product is not None else None
    if product is None or not scalars:
        return product
    return Matrix(tuple(tuple(Mul((*scalars, entry)) for entry in row) for row in product.rows))


def _times(a: Matrix, b: Matrix, work: Work) -> Matrix | None:
    if len(a.rows[0]) != len(b.rows) or len(a.rows) * len(b.rows[0]) > MAX_ITEMS:
        return None
    work.spend(len(a.rows) * len(b.rows) * len(b.rows[0]))
    columns = list(zip(*b.rows, strict=True))
    return Matrix(tuple(tuple(_dot(row, column) for column in columns) for row in a.rows))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    return Add(tuple(Mul(pair) for pair in zip(row, column, strict=True)))


def _sum(node: Add, work: Work) -> Matrix | None:
    terms = [matrix_value(term, work) for term in node.terms]
    matrices = [term for term in terms if term is not None]
    if len(matrices) != len(terms):
        return None
    total: Matrix | None = matrices[0]
    for matrix in matrices[1:]:
        total = _plus(total, matrix, work) if total is not None else None
    return total


def _plus(a: Matrix, b: Matrix, work: Work) -> Matrix | None:
    if (len(a.rows), len(a.rows[0])) != (len(b.rows), len(b.rows[0])):
        return None
    work.spend(len(a.rows) * len(a.rows[0]))
    pairs = zip(a.rows, b.rows, strict=True)
    return Matrix(tuple(tuple(Add(entries) for entries in zip(x, y, strict=True)) for x, y in pairs))
