// Builds the viewer into the directory in the first argument: every file compressed, so the server has nothing to do.
import * as esbuild from 'esbuild';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const output = path.resolve(process.argv[2] ?? 'dist');
const modules = path.resolve('node_modules');

// The packages of Perses also contain CommonJS copies. A page with both would have every React context twice.
const oneCopy = {
  name: 'one-copy',
  setup(build) {
    build.onResolve({ filter: /^@perses-dev\/[a-z-]+$/ }, ({ path: name }) => {
      const directory = fs.realpathSync(path.join(modules, name));
      const { module } = JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'));
      return { path: path.join(directory, module) };
    });
  },
};

// It loads plugins from servers at run time, which this viewer does not do, and needs whole libraries for it.
const noRemotePlugins = {
  name: 'no-remote-plugins',
  setup(build) {
    build.onLoad({ filter: /@perses-dev\/plugin-system\/dist\/remote\/PluginRuntime\.js$/ }, () => ({
      contents: 'export const pluginRuntime = null; export const loadPlugin = () => Promise.resolve(null);' +
        'export const usePluginRuntime = () => ({ pluginRuntime, loadPlugin });',
    }));
  },
};

const result = await esbuild.build({
  entryPoints: ['src/main.jsx'],
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  write: false,
  metafile: true,
  legalComments: 'none',
  outdir: path.join(output, 'assets'),
  entryNames: '[name]-[hash]',
  chunkNames: '[hash]',
  assetNames: '[hash]',
  jsx: 'automatic',
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl' },
  define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
  plugins: [oneCopy, noRemotePlugins],
  logLevel: 'error',
});

const copies = Object.keys(result.metafile.inputs).filter((file) => /@perses-dev\/.*\/cjs\//.test(file));
if (copies.length) throw new Error(`CommonJS copies in the bundle: ${copies.slice(0, 3).join(', ')}`);

function write(file, content) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }));
}

const files = result.outputFiles.map((file) => path.basename(file.path));
for (const file of result.outputFiles) write(file.path, file.contents);

const folders = JSON.parse(fs.readFileSync('dashboards/folders.json', 'utf8'));
const index = Object.entries(folders).map(([name, title]) => ({
  name,
  title,
  dashboards: fs
    .readdirSync(path.join('dashboards', name))
    .sort()
    .map((file) => {
      const text = fs.readFileSync(path.join('dashboards', name, file), 'utf8');
      const { metadata, spec } = JSON.parse(text);
      write(path.join(output, 'dashboards', `${metadata.name}.json`), text);
      return { name: metadata.name, title: spec.display.name, description: spec.display.description };
    }),
}));
write(path.join(output, 'dashboards', 'index.json'), JSON.stringify(index));

// The licenses of everything in the bundle, as its authors distribute them.
const packages = new Set(
  Object.keys(result.metafile.inputs)
    .map((file) => file.match(/^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1])
    .filter(Boolean),
);
const licenses = [...packages].sort().map((name) => {
  const directory = path.join(modules, name);
  const { version, license } = JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'));
  const file = fs.readdirSync(directory).find((entry) => /^licen[cs]e/i.test(entry));
  const text = file ? fs.readFileSync(path.join(directory, file), 'utf8').trim() : '';
  return `${name} ${version}: ${license ?? 'see below'}\n\n${text}\n`;
});
write(path.join(output, 'licenses.txt'), licenses.join('\n' + '-'.repeat(80) + '\n\n'));

const script = files.find((file) => /^main-.*\.js$/.test(file));
const style = files.find((file) => /^main-.*\.css$/.test(file));
write(
  path.join(output, 'index.html'),
  `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>MaaS</title>
<link rel="icon" href="data:,">
${style ? `<link rel="stylesheet" href="/assets/${style}">\n` : ''}<div id="root"></div>
<script type="module" src="/assets/${script}"></script>
</html>
`,
);
console.log(`${files.length} files, ${result.outputFiles.reduce((sum, file) => sum + file.contents.length, 0)} bytes`);
