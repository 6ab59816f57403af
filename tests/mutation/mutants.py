"""The mutants of a file, made by cosmic-ray: one change each, those left out that change nothing that runs."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

# One replacement for each binary operator, and the neighbour and the opposite of each comparison: cosmic-ray's every
# pair would make four mutants where the first tells the story.
BINARY = [
    *(
        f"ReplaceBinaryOperator_{pair}"
        for pair in (
            "Add_Sub",
            "Sub_Add",
            "Mul_Div",
            "Div_Mul",
            "FloorDiv_Mul",
            "Mod_Mul",
            "Pow_Mul",
            "LShift_RShift",
            "RShift_LShift",
            "BitOr_BitAnd",
            "BitAnd_BitOr",
            "BitXor_BitAnd",
        )
    ),
]
OTHERS = [
    *(
        f"ReplaceComparisonOperator_{pair}"
        for pair in (
            "Lt_LtE",
            "Lt_GtE",
            "LtE_Lt",
            "LtE_Gt",
            "Gt_GtE",
            "Gt_LtE",
            "GtE_Gt",
            "GtE_Lt",
            "Eq_NotEq",
            "NotEq_Eq",
            "Is_IsNot",
            "IsNot_Is",
        )
    ),
    *(f"ReplaceUnaryOperator_Delete_{operator}" for operator in ("USub", "Invert", "Not")),
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "RemoveDecorator",
    "ZeroIterationForLoop",
]
# Parts of about the same size, for workers side by side.
OPERATORS = (BINARY, OTHERS, ["NumberReplacer"])


@dataclass(frozen=True)
class Mutant:
    """One changed version of a file, named by what makes it again."""

    path: str
    operator: str
    occurrence: int
    line: int
    source: str

    @property
    def name(self) -> str:
        return f"{self.path}:{self.line} {self.operator} {self.occurrence}"


def mutants(path: Path, root: Path, operators: list[str]) -> list[Mutant]:
    """Return the mutants of a file whose code differs from it, and from each other, once compiled."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = path.read_text()
    tree = get_ast(source)
    seen = {_what_runs(source), None}
    made = []
    for name in operators:
        operator = get_operator(f"core/{name}")()
        starts = [start for node in ast_nodes(tree) for start, _ in operator.mutation_positions(node)]
        for occurrence, (line, _) in enumerate(starts):
            mutated = mutate_code(source, operator, occurrence)
            runs = _what_runs(mutated)
            if runs not in seen:
                seen.add(runs)
                made.append(Mutant(path.relative_to(root).as_posix(), name, occurrence, line, mutated))
    return made


def _what_runs(source: str) -> str | None:
    """Return the syntax tree without annotations, which nobody evaluates, or None for what is no Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return ast.dump(tree)
