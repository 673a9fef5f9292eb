package math

import "testing"

func TestAdd(t *testing.T) {
	for name, want := range map[string]int{"one": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			if got := Add(want, 0); got != want {
				t.Fatal(got)
			}
		})
	}
}

func TestWrong(t *testing.T) {
	if Add(1, 1) != 3 {
		t.Error("1 + 1 < 3 & more")
	}
	Sign(-1)
}

func TestSkipped(t *testing.T) {
	t.Skip("not today")
}
