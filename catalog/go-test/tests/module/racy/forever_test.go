//go:build forever

package racy

import "testing"

func TestForever(t *testing.T) {
	select {}
}
