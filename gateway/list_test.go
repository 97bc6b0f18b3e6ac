package gateway

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// listAll returns what a replica lists, in one line.
func listAll(t *testing.T, yaml, prefix string) string {
	t.Helper()
	gw := configuredGateway(t, yaml, "error")
	var all []string
	for k := range gw.Generation.Load().Buckets[0].Origin.Replicas[0].List(context.Background(), prefix) {
		if k.Err != nil {
			all = append(all, "error: "+k.Err.Error())
			continue
		}
		all = append(all, fmt.Sprintf("%s=%d", k.Key, k.Size))
	}
	return strings.Join(all, " ")
}

func TestList(t *testing.T) {
	const head, foot = `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">`, `</ListBucketResult>`
	first := head + `<IsTruncated>true</IsTruncated><NextContinuationToken>t+/=</NextContinuationToken><EncodingType>url</EncodingType><Contents><Key>a%01+b%2Bc</Key><Size>1</Size></Contents>` + foot
	last := head + `<IsTruncated>false</IsTruncated><Contents><Key>d%20e</Key><Size>2</Size></Contents>` + foot
	for _, c := range []struct {
		name    string
		answers []string // a number: this status
		queries string   // of the last request
		want    string
	}{
		{"pages, with and without encoded keys", []string{first, last}, "continuation-token=t%2B%2F%3D&encoding-type=url&list-type=2&max-keys=1000&prefix=p%20%2F", "a\x01 b+c=1 d%20e=2"},
		{"in chunks, as S3 sends it", []string{first, last}, "", "a\x01 b+c=1 d%20e=2"},
		{"an empty bucket", []string{head + foot}, "encoding-type=url&list-type=2&max-keys=1000&prefix=p%20%2F", ""},
		{"the origin recovers", []string{"503", "500", last}, "", "d%20e=2"},
		{"it does not", []string{"503", "503", "503"}, "", "error: cannot list the bucket: the origin answers 503 Code503"},
		{"it refuses", []string{"403"}, "", "error: cannot list the bucket: the origin answers 403 Code403"},
		{"no list", []string{"x"}, "", "error: cannot list the bucket: its answer is no list: EOF"},
		{"the origin breaks off a page, then recovers", []string{"cut", last}, "", "d%20e=2"},
		{"no way on", []string{head + `<IsTruncated>true</IsTruncated>` + foot}, "", "error: cannot list the bucket: the origin does not say how the list goes on"},
		{"in circles", []string{first, first}, "", "a\x01 b+c=1 error: cannot list the bucket: the origin does not say how the list goes on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
				answer := c.answers[min(asked, len(c.answers)-1)]
				if asked++; answer == "cut" {
					w.Header().Set("Content-Length", "9000")
					io.WriteString(w, first)
					return
				}
				if len(answer) == 3 {
					var code int
					fmt.Sscan(answer, &code)
					w.WriteHeader(code)
					answer = "<Error><Code>Code" + answer + "</Code></Error>"
				}
				if strings.HasPrefix(c.name, "in chunks") {
					w.(http.Flusher).Flush()
				}
				io.WriteString(w, answer)
			})
			if got := listAll(t, oneBucket("/pub", o.URL), "p /"); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			seen := o.seen()
			if len(seen) != len(c.answers) || c.queries != "" && seen[len(seen)-1].URL.RawQuery != c.queries {
				t.Errorf("%d requests, the last for %s", len(seen), seen[len(seen)-1].URL)
			}
		})
	}
}

// TestListBelowPrefix has a list of a bucket with a key prefix have the keys of clients.
func TestListBelowPrefix(t *testing.T) {
	o := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `<ListBucketResult><Contents><Key>site/</Key></Contents><Contents><Key>site/p/a</Key><Size>1</Size></Contents><Contents><Key>p/b</Key></Contents><Contents><Key>site/site/</Key></Contents></ListBucketResult>`)
	})
	if got := listAll(t, oneBucket("/pub", o.URL, "key_prefix: site/"), "p/"); got != "p/a=1 site/=0" {
		t.Errorf("got %q", got)
	}
	if query := o.seen()[0].URL.Query().Get("prefix"); query != "site/p/" {
		t.Errorf("the origin is asked for %q", query)
	}
}
