#!/usr/bin/env python3
"""Checks machine code for writes to registers that a wgmma in flight still reads.

    cuobjdump --dump-sass libmoe4j_cuda.so | check_wgmma_registers.py

wgmma reads its register operand A after it has been issued, until a wait. The compiler is trusted
with that, but BF16 weights, loaded straight into operand registers, once gave wrong results. So:
follow each path from an HGMMA or QGMMA to the DEPBAR that ends its group, and report any instruction in
between that writes one of its four registers. Exits with 1 if there is one.
"""
import re
import sys

INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;")
WGMMA = re.compile(r"[HQ]GMMA\S* R(\d+), R(\d+), gdesc")  # BF16; FP8
# Instructions whose first operand is no destination.
NO_DESTINATION = ("ST", "RED", "BAR", "BRA", "EXIT", "SYNCS", "WARPGROUP", "HGMMA", "QGMMA", "WARPSYNC", "MEMBAR",
                  "FENCE", "DEPBAR", "NOP", "UBLKCP", "BSYNC", "BSSY", "ISETP", "FSETP", "PLOP3",
                  "LOP3.LUT P", "R2UR", "LDGDEPBAR", "LDGSTS", "CALL", "RET", "USETMAXREG", "ERRBAR")


def written_registers(text):
    """Registers that an instruction writes."""
    text = re.sub(r"^@!?U?P\d+T?\s+", "", text)
    opcode, _, operands = text.partition(" ")
    if opcode.startswith(NO_DESTINATION):
        return set()
    match = re.match(r"(?:U?P[T\d]+, )*R(\d+)", operands)
    if not match:
        return set()
    first = int(match.group(1))
    width = 4 if ".128" in opcode else 2 if (".64" in opcode or "WIDE" in opcode) else 1
    return set(range(first, first + width))


def successors(index, address, text, places):
    match = re.search(r"\bBRA\b.*?(0x[0-9a-f]+)", text)
    if not match:
        return [] if text.startswith(("EXIT", "RET")) else [index + 1]
    target = places.get(int(match.group(1), 16))
    taken = [] if target is None else [target]
    return taken + ([index + 1] if text.startswith("@") else [])


def check(name, code):
    """All paths from each wgmma; how many problems there are."""
    places = {address: i for i, (address, _) in enumerate(code)}
    problems = 0
    count = 0
    for start, (address, text) in enumerate(code):
        match = WGMMA.search(text)
        if not match:
            continue
        count += 1
        operand = set(range(int(match.group(2)), int(match.group(2)) + 4))
        # State: place, and how many groups have been committed since (its own counts as 0).
        own_open = "gsb0" not in text
        todo = [(start + 1, 0, own_open)]
        seen = set()
        while todo:
            state = todo.pop()
            if state in seen or state[0] >= len(code):
                continue
            seen.add(state)
            index, later, is_open = state
            where, instruction = code[index]
            clash = written_registers(instruction) & operand
            if clash:
                problems += 1
                print(f"{name}: {where:#x} {instruction} writes R{min(clash)}, which the wgmma at "
                      f"{address:#x} may still read")
                continue
            if "GMMA." in instruction and "gsb0" in instruction:
                if is_open:
                    is_open = False
                else:
                    later += 1
            wait = re.search(r"WARPGROUP\.DEPBAR\.LE gsb0, 0x([0-9a-f]+)", instruction)
            if wait and not is_open and later >= int(wait.group(1), 16):
                continue  # its group is done
            todo += [(s, min(later, 8), is_open)
                     for s in successors(index, where, instruction, places)]
    return count, problems


def main():
    functions = []
    for line in sys.stdin:
        if "Function :" in line:
            functions.append((line.split("Function :")[1].strip(), []))
            continue
        match = INSTRUCTION.match(line)
        if match and functions:
            functions[-1][1].append((int(match.group(1), 16), match.group(2)))
    total = problems = 0
    for name, code in functions:
        count, bad = check(name, code)
        total += count
        problems += bad
    print(f"{total} wgmma in {len(functions)} functions, {problems} writes to operands in flight")
    return 1 if problems or not total else 0


if __name__ == "__main__":
    sys.exit(main())
