import { Alert, Box, Button, Paper, Stack, TextField, Typography } from '@mui/material';
import { useState } from 'react';

import { login } from './api.js';
import { useTexts } from './texts.js';

const COMMAND = 'maas credentials --role viewer --token';
const MESSAGES = { 400: 'rejected', 401: 'rejected', 403: 'denied' };

export function Login({ language, setLanguage, onLogin }) {
  const texts = useTexts();
  const [token, setToken] = useState('');
  const [problem, setProblem] = useState();

  async function submit(event) {
    event.preventDefault();
    try {
      onLogin(await login(token));
    } catch (error) {
      setProblem(MESSAGES[error.status] ?? 'unavailable');
    }
  }

  return (
    <Box component="main" sx={{ minHeight: '100vh', display: 'grid', placeItems: 'center', p: 2 }}>
      <Paper component="form" onSubmit={submit} sx={{ p: 4, width: '100%', maxWidth: 480 }} elevation={2}>
        <Stack spacing={2}>
          <Typography variant="h1">MaaS</Typography>
          <Typography>{texts.loginHelp}</Typography>
          <Typography component="code" sx={{ fontFamily: 'monospace' }}>
            {COMMAND}
          </Typography>
          <TextField
            label={texts.token}
            type="password"
            name="token"
            autoComplete="off"
            autoFocus
            required
            value={token}
            onChange={(event) => setToken(event.target.value)}
          />
          {problem && <Alert severity="error">{texts[problem]}</Alert>}
          <Button type="submit" variant="contained">
            {texts.logIn}
          </Button>
          <Button onClick={() => setLanguage(language === 'fr' ? 'en' : 'fr')}>{texts.language}</Button>
        </Stack>
      </Paper>
    </Box>
  );
}
