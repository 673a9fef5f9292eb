//go:build integration && other

package math

import "testing"

func TestTagged(t *testing.T) {}
