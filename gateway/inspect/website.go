package inspect

import (
	"fmt"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/request"
	"yatagarasu/gateway/serve"
	"yatagarasu/gateway/web"
)

// answeredHere says what the configuration of a website answers to a request without asking
// anybody; empty: nothing. bare says that the path is the bucket's prefix, without a slash.
func answeredHere(b *serve.Bucket, key, path, query []byte, bare bool) string {
	w := b.Website
	if f := w.File(key); f != nil {
		return textAnswer(f)
	}
	if w.Redirects != nil {
		if rule, status, ok := w.Redirects.Match(key); ok {
			if location, ok := w.Redirects.AppendLocation(nil, rule, key, query); ok {
				return fmt.Sprintf("%d: to %s, by website.redirects[%d]", status, location, rule)
			}
		}
	}
	if bare && w.RedirectsFolders() {
		return fmt.Sprintf("%d: to %s, as website.trailing_slash has it", fasthttp.StatusFound, web.AppendFolder(nil, path, query))
	}
	return ""
}

func textAnswer(f *web.File) string {
	return fmt.Sprintf("%d: the %d bytes that website.files has", fasthttp.StatusOK, len(f.Text))
}

// meanings says what the object of a step is.
var meanings = [...]string{
	web.Index: "the index", web.Clean: "by clean_urls", web.Folder: "the index of a folder", web.Fallback: "the application's fallback",
}

// explainChain writes what stands in for the object of a key, or behind a step of its chain, where
// S3 says that there is none.
func explainChain(b *serve.Bucket, key, path, query []byte, step web.Step, line func(name, format string, args ...any)) {
	w := b.Website
	var own []byte
	if step == web.Index && b.Pages.Offers(key) {
		line("if absent", "a listing of the folder")
	}
	for own, step = w.Next(nil, key, step); step != web.NoStep; own, step = w.Next(nil, key, step) {
		switch {
		case request.CheckKey(own, b.Keys) != nil:
		case step == web.Folder && w.RedirectsFolders():
			line("if absent", "%d to %s, if there is %q", fasthttp.StatusFound, web.AppendFolder(nil, path, query), own)
		default:
			line("if absent", "%q, %s", own, meanings[step])
		}
	}
	if own = w.AppendDocument(nil, fasthttp.StatusNotFound); len(own) > 0 {
		line("if absent", "%d with %q", fasthttp.StatusNotFound, own)
	}
	if b.Policy != nil {
		line("judged", "each of these is, by the rules for its own key")
	}
}
