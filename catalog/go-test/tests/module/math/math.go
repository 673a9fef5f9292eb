// Package math has tests, of which some pass.
package math

// Add adds.
func Add(a, b int) int {
	return a + b
}

// Sign is not tested for zero.
func Sign(a int) int {
	if a < 0 {
		return -1
	}
	if a > 0 {
		return 1
	}
	return 0
}
