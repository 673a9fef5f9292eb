package shout

import "testing"

func TestShout(t *testing.T) {
	if Shout("a") != "A!" {
		t.Fail()
	}
}
