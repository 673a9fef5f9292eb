// Package shout says it louder.
package shout

import "strings"

// Shout says it louder.
func Shout(text string) string {
	return strings.ToUpper(text) + "!"
}
