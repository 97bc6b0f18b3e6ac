//go:build race

package gateway

// raceEnabled tells that the race detector makes everything several times slower.
const raceEnabled = true
