package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"yatagarasu/loadtest/browser"
)

// TestStatusPageInBrowser opens the page in a real browser, if there is one: it asks
// for the token, keeps it for the tab alone, and shows what clients chose as text.
func TestStatusPageInBrowser(t *testing.T) {
	b, err := browser.Start(time.Now().Add(time.Minute))
	if errors.Is(err, browser.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	gw := startGateway(t, adminYAML(startOrigin(t, serveText("hello")).URL, `admin: {token: "`+adminToken+`"}`))
	const attack = "/pub/<img/src=x/onerror=alert(1)><script>alert(1)</script>"
	gw.do("GET", attack)

	is := func(expression string) {
		t.Helper()
		if err := b.Await(expression, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	give := func(token string) {
		t.Helper()
		var ok bool
		if err := b.Evaluate(fmt.Sprintf(`document.getElementById('token').value = %q; document.getElementById('gate-form').requestSubmit(); true`, token), &ok); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Open("http://"+gw.MetricsAddr().String()+"/", browser.Window{Width: 1280, Scale: 1, Scheme: "light"}); err != nil {
		t.Fatal(err)
	}
	is(`document.getElementById('gate-title').textContent === 'A token is needed' && document.getElementById('buckets').offsetParent === null`)
	give("not-the-right-token")
	is(`document.getElementById('gate-title').textContent === 'The token is not accepted' && sessionStorage.length === 0`)
	give(adminToken)
	is(`[...document.querySelectorAll('#buckets tbody th')].some(e => e.textContent.startsWith('main')) && document.getElementById('gate').hidden`)
	is(`sessionStorage.length === 1 && localStorage.length === 0 && document.cookie === '' && !location.href.includes('admin')`)
	is(fmt.Sprintf(`[...document.querySelectorAll('#slowest tbody th')].some(e => e.textContent === %q)`, attack))
	is(`document.querySelectorAll('img').length === 0 && document.querySelectorAll('script').length === 1`)
	is(`document.getElementById('state').textContent === 'Serving'`)
	var ok bool
	if err := b.Evaluate(`document.getElementById('forget').click(); true`, &ok); err != nil {
		t.Fatal(err)
	}
	is(`!document.getElementById('gate').hidden && sessionStorage.length === 0 && document.getElementById('buckets').offsetParent === null`)

	// The browser reports each 401, and must report nothing else.
	b.Mistakes = slices.DeleteFunc(b.Mistakes, func(m string) bool { return strings.Contains(m, "status of 401") })
	if len(b.Mistakes) > 0 {
		t.Errorf("the page complains: %s", b.Mistakes)
	}
	if log := gw.log.String(); strings.Contains(log, adminToken) {
		t.Errorf("the token is logged: %s", log)
	}

	// Were the page to fall for an attack, its policy would not.
	for _, fall := range []string{
		`document.body.innerHTML = '<b>markup</b>'`,
		`document.createElement('script').textContent = 'code'`,
	} {
		if err := b.Evaluate(fall, &ok); err == nil || !strings.Contains(err.Error(), "TrustedHTML") && !strings.Contains(err.Error(), "TrustedScript") {
			t.Errorf("%s: %v", fall, err)
		}
	}
	b.Mistakes = nil
	if err := b.Evaluate(`document.body.append(Object.assign(document.createElement('img'), {src: '/metrics'})); true`, &ok); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); len(b.Mistakes) == 0 && time.Now().Before(deadline); {
		is("true") // what the browser reports comes with an answer
	}
	if !strings.Contains(strings.Join(b.Mistakes, ""), "Content Security Policy") {
		t.Errorf("a picture of another address is loaded: %s", b.Mistakes)
	}
}
