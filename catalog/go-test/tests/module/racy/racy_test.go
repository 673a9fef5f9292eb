//go:build racy

package racy

import (
	"sync"
	"testing"
)

func TestRace(t *testing.T) {
	var wait sync.WaitGroup
	count := 0
	for i := 0; i < 2; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			count++
		}()
	}
	wait.Wait()
}
