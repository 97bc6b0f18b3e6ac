package route

import "testing"

func TestReserved(t *testing.T) {
	for path, want := range map[string][3]bool{ // reserved, probe, admin
		"/health": {true, true, false}, "/ready": {true, true, false}, "/metrics": {true, false, false},
		"/admin": {true, false, true}, "/admin/": {true, false, true}, "/admin/purge": {true, false, true},
		"/": {}, "/healthy": {}, "/health/": {}, "/ready/x": {}, "/metrics/": {}, "/adm": {}, "/admins": {}, "/Admin": {}, "/x/admin": {},
	} {
		p := []byte(path)
		if got := [3]bool{IsReserved(p), IsProbe(p), IsAdmin(p)}; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
