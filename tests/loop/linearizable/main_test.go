package main

import (
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// Times are in the eighth and ninth column; the index that the node told is of no account here.
func judge(t *testing.T, history string) porcupine.CheckResult {
	t.Helper()
	lines, err := parse(strings.NewReader(strings.TrimLeft(history, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	result, _, err := check(lines, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestHistories(t *testing.T) {
	const never = "18446744073709551615"
	cases := []struct {
		name, history string
		want          porcupine.CheckResult
	}{
		{"in order", `
1 insert a 1 - 0 1000 10 20 ok 1 1
2 get a 1 - 0 1000 30 40 ok 1 1
1 remove a 0 - 0 1000 50 60 ok 2 1
2 get a 0 - 0 1000 70 80 absent 2 1
`, porcupine.Ok},
		{"a stale read", `
1 insert a 1 - 0 1000 10 20 ok 1 1
1 insert a 2 - 0 1000 30 40 ok 2 1
2 get a 1 - 0 1000 50 60 ok 1 1
`, porcupine.Illegal},
		{"a read during the update may see either", `
1 insert a 1 - 0 1000 10 20 ok 1 1
1 insert a 2 - 0 1000 30 60 ok 2 1
2 get a 2 - 0 1000 35 40 ok 2 1
3 get a 2 - 0 1000 45 50 ok 2 1
`, porcupine.Ok},
		{"a read that goes back during the update", `
1 insert a 1 - 0 1000 10 20 ok 1 1
1 insert a 2 - 0 1000 30 60 ok 2 1
2 get a 2 - 0 1000 35 40 ok 2 1
3 get a 1 - 0 1000 45 50 ok 1 1
`, porcupine.Illegal},
		{"an acknowledged update is lost", `
1 insert a 1 - 0 1000 10 20 ok 1 1
2 get a 0 - 0 1000 30 40 absent 5 1
`, porcupine.Illegal},
		{"an unknown update takes effect late", `
1 insert a 1 - 0 1000 10 20 ok 1 1
2 insert a 2 - 0 1000 12 ` + never + ` unknown 0 1
1 get a 1 - 0 1000 30 40 ok 1 1
1 get a 2 - 0 1000 50 60 ok 2 1
`, porcupine.Ok},
		{"an unknown update takes effect twice", `
2 insert a 2 - 0 1000 5 50 unknown 0 1
1 get a 2 - 0 1000 60 70 ok 1 1
1 insert a 1 - 0 1000 80 90 ok 2 1
1 get a 2 - 0 1000 100 110 ok 3 1
`, porcupine.Illegal},
		{"a rejected update is seen", `
1 insert a 1 - 0 1000 10 20 rejected 0 1
1 get a 1 - 0 1000 30 40 ok 1 1
`, porcupine.Illegal},
		{"an unknown removal explains an absence", `
1 insert a 1 - 0 1000 10 20 ok 1 1
2 remove a 0 - 0 1000 10 50 unknown 0 1
1 get a 0 - 0 1000 60 70 absent 9 1
`, porcupine.Ok},
		{"a secondary may be behind", `
1 insert a 1 - 0 1000 10 20 ok 1 1
2 get a 0 n2 0 1000 30 40 absent 0 1
`, porcupine.Ok},
		{"keys are apart", `
1 insert a 1 - 0 1000 10 20 ok 1 1
1 insert b 2 - 0 1000 30 40 ok 2 1
1 get a 2 - 0 1000 50 60 ok 2 1
`, porcupine.Illegal},
	}
	for _, c := range cases {
		if got := judge(t, c.history); got != c.want {
			t.Errorf("%s: %v, not %v", c.name, got, c.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	for _, text := range []string{"1 insert a\n", "x insert a 1 - 0 1 2 3 ok 1 1\n"} {
		if _, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("taken: %q", text)
		}
	}
}
