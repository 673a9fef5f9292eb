// Package racy is wrong on purpose, where its tests are switched on.
package racy
