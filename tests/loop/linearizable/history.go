package main

import (
	"bufio"
	"fmt"
	"io"
	"math"

	"github.com/anishathalye/porcupine"
)

// A request as the register sees it: write 0 is a removal.
type input struct {
	isRead bool
	key    string
	value  uint64
}

// line is one line of a history, as history.h has it.
type line struct {
	session                         int
	kind, key, node, outcome        string
	value, minIndex, index, answers uint64
	deadline, invoked, returned     uint64
}

func parse(reader io.Reader) ([]line, error) {
	var lines []line
	scanner := bufio.NewScanner(reader)
	for scanner.Scan() {
		var l line
		_, err := fmt.Sscan(scanner.Text(), &l.session, &l.kind, &l.key, &l.value, &l.node,
			&l.minIndex, &l.deadline, &l.invoked, &l.returned, &l.outcome, &l.index, &l.answers)
		if err != nil {
			return nil, fmt.Errorf("line %d: %v", len(lines)+1, err)
		}
		lines = append(lines, l)
	}
	return lines, scanner.Err()
}

// operations leaves out what proves nothing: reads at a secondary, reads without an answer,
// requests that were rejected, and inserts of unknown outcome whose value nobody has read. These
// last ones may have happened or not: where one did, nobody looked before the next update, so
// that the history without it is in order exactly when the history with it is.
func operations(lines []line) ([]porcupine.Operation, error) {
	type pair struct {
		key   string
		value uint64
	}
	seen := map[pair]bool{}
	for _, l := range lines {
		if l.kind == "get" && l.node == "-" && l.outcome == "ok" {
			seen[pair{l.key, l.value}] = true
		}
	}
	var ops []porcupine.Operation
	for _, l := range lines {
		op := porcupine.Operation{ClientId: l.session, Call: int64(l.invoked),
			Return: math.MaxInt64}
		if l.returned <= math.MaxInt64 {
			op.Return = int64(l.returned)
		}
		switch {
		case l.outcome == "rejected":
			continue
		case l.kind == "get":
			if l.node != "-" || l.outcome == "unknown" {
				continue
			}
			op.Input, op.Output = input{true, l.key, 0}, l.value
		case l.kind == "insert" || l.kind == "remove":
			if l.outcome == "unknown" {
				if l.kind == "insert" && !seen[pair{l.key, l.value}] {
					continue
				}
				op.Return = math.MaxInt64
			}
			op.Input, op.Output = input{false, l.key, l.value}, uint64(0)
		default:
			return nil, fmt.Errorf("no such kind: %s", l.kind)
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// register is one register for each key; at first each is absent, which is 0.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		var keys []string
		for _, op := range history {
			key := op.Input.(input).key
			if byKey[key] == nil {
				keys = append(keys, key)
			}
			byKey[key] = append(byKey[key], op)
		}
		var parts [][]porcupine.Operation
		for _, key := range keys {
			parts = append(parts, byKey[key])
		}
		return parts
	},
	Init: func() interface{} { return uint64(0) },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		request := in.(input)
		if request.isRead {
			return out.(uint64) == state.(uint64), state
		}
		return true, request.value
	},
}
