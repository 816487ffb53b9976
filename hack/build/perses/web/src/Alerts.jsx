import { Alert, Box, Chip, Link, MenuItem, Paper, Stack, Table, TableBody, TableCell, TableContainer, TableHead, TableRow, TextField, Typography } from '@mui/material';
import { useQuery } from '@tanstack/react-query';
import { useContext } from 'react';
import { useSearchParams } from 'react-router-dom';

import { alerts } from './api.js';
import { Language, useTexts } from './texts.js';

const REFRESH = 30_000;
const STATES = ['firing', 'pending', 'silenced'];
const COLORS = { critical: 'error', warning: 'warning', info: 'info' };
const OBVIOUS = ['alertname', 'severity', 'prometheus'];

const isWeb = (address) => /^https?:\/\//.test(address ?? '');

export function Alerts({ rights }) {
  const texts = useTexts();
  const language = useContext(Language);
  const [parameters, setParameters] = useSearchParams();
  const { data, error } = useQuery(['alerts'], () => alerts(rights), { refetchInterval: REFRESH });
  const chosen = (name) => parameters.get(name) ?? '';

  function choose(name, value) {
    const next = new URLSearchParams(parameters);
    if (value) next.set(name, value);
    else next.delete(name);
    setParameters(next, { replace: true });
  }

  const every = data ?? [];
  const severities = [...new Set(every.map(({ labels }) => labels.severity ?? 'none'))];
  const words = chosen('search').toLowerCase();
  const shown = every.filter(
    (alert) =>
      (!chosen('state') || alert.state === chosen('state')) &&
      (!chosen('severity') || (alert.labels.severity ?? 'none') === chosen('severity')) &&
      JSON.stringify([alert.labels, alert.annotations]).toLowerCase().includes(words),
  );
  const time = new Intl.DateTimeFormat(language, { dateStyle: 'short', timeStyle: 'short' });
  const select = (name, label, options) => (
    <TextField
      select
      size="small"
      label={label}
      value={chosen(name)}
      onChange={(event) => choose(name, event.target.value)}
      slotProps={{ select: { displayEmpty: true }, inputLabel: { shrink: true } }}
      sx={{ minWidth: 140 }}
    >
      <MenuItem value="">{texts.all}</MenuItem>
      {options.map(([value, text]) => (
        <MenuItem key={value} value={value}>
          {text}
        </MenuItem>
      ))}
    </TextField>
  );

  return (
    <Box sx={{ p: 2 }}>
      <Typography variant="h2" component="h1">
        {texts.alerts}
      </Typography>
      {error && <Alert severity="error">{error.message}</Alert>}
      <Stack direction="row" gap={1} flexWrap="wrap" sx={{ my: 2 }}>
        {STATES.map((state) => (
          <Chip key={state} label={`${texts[state]}: ${every.filter((alert) => alert.state === state).length}`} />
        ))}
        <Box sx={{ flexGrow: 1 }} />
        {select('state', texts.state, STATES.map((state) => [state, texts[state]]))}
        {select('severity', texts.severity, severities.map((severity) => [severity, severity]))}
        <TextField size="small" label={texts.search} value={chosen('search')} onChange={(event) => choose('search', event.target.value)} />
      </Stack>
      <TableContainer component={Paper} variant="outlined">
        <Table size="small" aria-label={texts.alerts}>
          <TableHead>
            <TableRow>
              {[texts.state, texts.severity, texts.alert, texts.summary, texts.labels, texts.since, texts.runbook].map((heading) => (
                <TableCell key={heading}>{heading}</TableCell>
              ))}
            </TableRow>
          </TableHead>
          <TableBody>
            {shown.map(({ labels, annotations, state, activeAt, comment }) => (
              <TableRow key={JSON.stringify(labels)} hover>
                <TableCell title={comment && `${texts.silencedBy}: ${comment}`}>{texts[state]}</TableCell>
                <TableCell>
                  <Chip size="small" color={COLORS[labels.severity] ?? 'default'} label={labels.severity ?? 'none'} />
                </TableCell>
                <TableCell>{labels.alertname}</TableCell>
                <TableCell>{annotations.description ?? annotations.summary}</TableCell>
                <TableCell>
                  <Stack direction="row" gap={0.5} flexWrap="wrap">
                    {Object.entries(labels)
                      .filter(([name]) => !OBVIOUS.includes(name))
                      .map(([name, value]) => (
                        <Chip key={name} size="small" variant="outlined" label={`${name}=${value}`} />
                      ))}
                  </Stack>
                </TableCell>
                <TableCell>{time.format(new Date(activeAt))}</TableCell>
                <TableCell>
                  {isWeb(annotations.runbook_url) && (
                    <Link href={annotations.runbook_url} target="_blank" rel="noreferrer">
                      {texts.runbook}
                    </Link>
                  )}
                </TableCell>
              </TableRow>
            ))}
            {data && shown.length === 0 && (
              <TableRow>
                <TableCell colSpan={7}>{texts.nothing}</TableCell>
              </TableRow>
            )}
          </TableBody>
        </Table>
      </TableContainer>
    </Box>
  );
}
