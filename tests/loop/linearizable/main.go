// linearizable HISTORY: tells whether the updates and the reads at the primary of a history
// (../history.h) happened in some order that fits what each client saw.
//
// Exit status: 0 yes, 1 no, 2 the history cannot be read, 3 not decided in time.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/anishathalye/porcupine"
)

const limit = 120 * time.Second

// check returns the result, and the keys whose registers are out of order.
func check(lines []line, limit time.Duration) (porcupine.CheckResult, []string, error) {
	ops, err := operations(lines)
	if err != nil {
		return porcupine.Unknown, nil, err
	}
	result := porcupine.CheckOperationsTimeout(register, ops, limit)
	var keys []string
	if result == porcupine.Illegal {
		for _, part := range register.Partition(ops) {
			if porcupine.CheckOperationsTimeout(register, part, limit) == porcupine.Illegal {
				keys = append(keys, part[0].Input.(input).key)
			}
		}
	}
	return result, keys, nil
}

func run(path string) int {
	file, err := os.Open(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer file.Close()
	lines, err := parse(file)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
		return 2
	}
	result, keys, err := check(lines, limit)
	switch {
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
		return 2
	case result == porcupine.Ok:
		fmt.Printf("linearizable: %d requests\n", len(lines))
		return 0
	case result == porcupine.Illegal:
		fmt.Printf("NOT linearizable: %v\n", keys)
		return 1
	}
	fmt.Printf("not decided within %v: %d requests\n", limit, len(lines))
	return 3
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: linearizable HISTORY")
		os.Exit(2)
	}
	os.Exit(run(os.Args[1]))
}
