package main

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/minio/minio-go/v7"

	"yatagarasu/loadtest/s3server"
)

// site has the files of a small application of one page, as a build would leave them: names with
// hashes below assets, and a page for what is missing.
//
//go:embed site
var site embed.FS

// seedSite stores the site below site/ in the bucket, without types: the gateway guesses them.
func seedSite(ctx context.Context, s3 *s3server.Server) error {
	c, err := s3.Client()
	if err != nil {
		return err
	}
	return fs.WalkDir(site, "site", func(key string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := site.ReadFile(key)
		if err != nil {
			return err
		}
		_, err = c.PutObject(ctx, bucket, key, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{ContentType: "application/octet-stream", DisableMultipart: true, DisableContentSha256: true})
		if err != nil {
			return fmt.Errorf("cannot store %s: %w", key, err)
		}
		return nil
	})
}

// siteRequests returns what to try with the site.
func siteRequests() []request {
	get := func(path, name, value, note string, status int, holds string) request {
		return request{method: http.MethodGet, path: "/site/" + path, name: name, value: value, note: note, status: status, holds: holds}
	}
	return []request{
		get("", "", "", "index.html, of a type guessed by its name", 200, "<title>A site from a bucket"),
		get("feathers/2", "", "", "a deep link: index.html again, which shows the view", 200, "<title>A site from a bucket"),
		get("assets/gone.00000000.js", "", "", "404 with a page: a missing asset is not the application", 404, "<title>Not here"),
		get("data/", "Accept", "application/json", "a folder, listed", 200, `"feathers.json"`),
	}
}
